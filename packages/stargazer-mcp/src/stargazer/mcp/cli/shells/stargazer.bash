# Completion of the stargazer command in bash.
_stargazer() {
    # bash cuts words at = and : , so they are put together again; what it replaces is the last piece alone
    local -a words=()
    local piece joined= current= line word
    for piece in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
        if [[ $piece == [=:]* || $joined ]] && ((${#words[@]})); then
            words[${#words[@]} - 1]+=$piece
        else
            words+=("$piece")
        fi
        [[ $piece == *[=:] ]] && joined=1 || joined=
    done
    ((${#words[@]})) && current=${words[${#words[@]} - 1]}
    local kept=$current last=${COMP_WORDS[COMP_CWORD]}
    [[ $last == [=:]* ]] || kept=${current%"$last"}
    last=${current#"$kept"}
    COMPREPLY=()
    while IFS= read -r line; do
        word=${line%%$'\t'*}
        case $word in
            :files | :folders)
                # spaces and slashes by hand: what bash would add it adds to the other words as well
                [[ $word == :files ]] && word=-f || word=-d
                while IFS= read -r line; do
                    printf -v word %q "$line"
                    [[ -d ${line/#\~/$HOME} ]] && word+=/ || word+=' '
                    COMPREPLY+=("${word/#\\\~/\~}")
                done < <(compgen "$word" -- "$last")
                ;;
            *=) COMPREPLY+=("${word#"$kept"}") ;;
            *) COMPREPLY+=("${word#"$kept"} ") ;;
        esac
    done < <("$1" completion --offer -- "${words[@]}" 2>/dev/null)
}
complete -o nospace -F _stargazer stargazer stargazer-mcp
