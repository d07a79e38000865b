"""The records of a VCF, line by line: alleles in capitals, and calls where all copies are lost."""

from __future__ import annotations

from pathlib import Path

from stargazer.tasks.germline.records import flag_calls_in_deletions, write_capital_alleles

VCF = """\
##fileformat=VCFv4.2
##reference=ipfs://CID
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta
c\t5\tx\tA\tG,<DEL>\t50\tPASS\tend=a\tGT\t0/1
c\t9\t.\tAC\tA,*\t50\tPASS\t.\tGT\t0/1
c\t20\t.\tN\tACGTN\t50\t.\t.\tGT\t0/1
"""


def test_alleles_come_in_capitals_the_reference_without_its_path_and_nothing_else_changes(tmp_path: Path):
    lower = VCF.replace("\tA\tG,", "\ta\tG,").replace("AC\tA,*", "aC\ta,*").replace("N\tACGTN", "n\tAcgtn")
    (tmp_path / "a.vcf").write_text(lower.replace("ipfs://CID", "file://reference/reference.fa"))

    write_capital_alleles(str(tmp_path / "a.vcf"), str(tmp_path / "b.vcf"), "ipfs://CID")

    assert (tmp_path / "b.vcf").read_text() == VCF != lower


def test_ambiguity_codes_in_a_deletion_become_bases(tmp_path: Path):
    (tmp_path / "a.vcf").write_text(VCF.replace("AC\tA,*", "RygS\tr,*"))

    write_capital_alleles(str(tmp_path / "a.vcf"), str(tmp_path / "b.vcf"), "ipfs://CID")

    assert (tmp_path / "b.vcf").read_text() == VCF.replace("AC\tA,*", "ACGC\tA,*")


DELETIONS = """\
##fileformat=VCFv4.2
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ta\tb
c\t100\t.\tACGTACGTAC\tA\t90\tPASS\t.\tGT:DP\t1/1:9\t0/1:9
c\t101\t.\tC\tT\t90\tPASS\t.\tGT:DP\t0/1:9\t0/0:9
c\t105\t.\tC\tG\t90\tLowQual\t.\tGT:DP\t1/1:9\t0/0:9
c\t106\t.\tG\tT\t90\tPASS\t.\tGT:DP\t0/1:9\t0/1
c\t109\t.\tC\tA\t90\tPASS\t.\tGT\t1\t0
c\t110\t.\tG\tA\t90\tPASS\t.\tGT\t1/1\t0/0
d\t105\t.\tG\tA\t90\tPASS\t.\tGT\t1/1\t0/0
d\t200\t.\tACGT\tA\t9\tLowQual\t.\tGT\t1/1\t0/0
d\t202\t.\tG\tA\t90\tPASS\t.\tGT\t1/1\t0/0
d\t300\t.\tACGTA\tA,ACG\t90\tPASS\t.\tGT\t1/2\t0/0
d\t302\t.\tG\tA\t90\tPASS\t.\tGT\t0/1\t0/0
d\t303\t.\tT\tA\t90\tPASS\t.\tGT\t0/1\t0/0
d\t400\t.\tAC\tA\t90\tPASS\t.\tGT\t1/1\t1|1
d\t401\t.\tC\tT\t90\tPASS\t.\tGT\t0/1\t1|1
"""


def test_calls_where_all_copies_are_lost_are_flagged(tmp_path: Path):
    (tmp_path / "a.vcf").write_text(DELETIONS)

    flag_calls_in_deletions(str(tmp_path / "a.vcf"), str(tmp_path / "b.vcf"))

    lines = (tmp_path / "b.vcf").read_text().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    assert {f"{row[0]}{row[1]}": row[6] for row in rows} == {
        "c100": "PASS",
        "c101": "InDeletion",
        "c105": "LowQual;InDeletion",
        "c106": "PASS",  # b has it too, beside a copy that is not lost
        "c109": "InDeletion",
        "c110": "PASS",
        "d105": "PASS",
        "d200": "LowQual",
        "d202": "PASS",  # of a deletion that did not pass
        "d300": "PASS",
        "d302": "PASS",  # only one of two deletions holds it
        "d303": "InDeletion",
        "d400": "PASS",
        "d401": "InDeletion",
    }
    both = next(row for row in rows if row[1] == "106")
    assert both[8:] == ["GT:DP:FT", "0/1:9:InDeletion", "0/1:.:PASS"]
    assert sum(line.startswith("##FILTER=<ID=InDeletion") for line in lines) == 1
