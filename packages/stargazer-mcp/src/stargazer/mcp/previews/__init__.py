"""Previews of files: what each holds, in brief, whatever it is."""
