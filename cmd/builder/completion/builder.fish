# fish completion of builder

function __builder_offers
    set -l line (commandline -opc)
    set -l cur (commandline -ct)
    for offer in ($line[1] __complete $line[2..] "$cur" 2>/dev/null)
        switch $offer
            case :files :directories
                # Behind --name= too, which fish takes for a part of the word.
                set -l name (string match -r -- '^--[^=]*=' $cur; or echo '')
                set -l path (string replace -r -- '^--[^=]*=' '' $cur)
                if test $offer = :files
                    printf '%s\n' $name(__fish_complete_path $path)
                else
                    printf '%s\n' $name(__fish_complete_directories $path '')
                end
            case '*'
                printf '%s\n' $offer
        end
    end
end

complete -c builder -f -a '(__builder_offers)'
