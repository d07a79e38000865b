#compdef stargazer stargazer-mcp
# Completion of the stargazer command in zsh.
_stargazer() {
    local line word text
    local -a closed closed_texts open open_texts
    for line in "${(@f)$(${(Q)words[1]} completion --offer -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}"; do
        word=${line%%$'\t'*} text=${line#*$'\t'}
        case $word in
            '') ;;
            :files) [[ $PREFIX == --*=* ]] && compset -P '*='; _files ;;
            :folders) [[ $PREFIX == --*=* ]] && compset -P '*='; _files -/ ;;
            *=) open+=("$word") open_texts+=("$word${text:+  -- $text}") ;;
            *) closed+=("$word") closed_texts+=("$word${text:+  -- $text}") ;;
        esac
    done
    (($#closed)) && compadd -l -d closed_texts -a closed
    (($#open)) && compadd -S '' -l -d open_texts -a open
    return 0
}
compdef _stargazer stargazer stargazer-mcp
