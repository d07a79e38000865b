# Completion of the stargazer command in fish.
function __stargazer_words
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] completion --offer -- $words[2..] 2>/dev/null)
        switch $line
            case ':files*'
                __fish_complete_path (commandline -ct | string replace -r '^--[^=]*=' '')
            case ':folders*'
                __fish_complete_directories (commandline -ct | string replace -r '^--[^=]*=' '')
            case '*'
                echo -- $line
        end
    end
end
complete -c stargazer -f -a '(__stargazer_words)'
complete -c stargazer-mcp -f -a '(__stargazer_words)'
