#compdef builder
# zsh completion of builder

_builder() {
    local line offer files
    local -a offers open
    while IFS= read -r line; do
        case $line in
            :files) files=(_files) ;;
            :directories) files=(_files -/) ;;
            *)
                offer=${${line%%$'\t'*}//:/\\:}
                [[ $line == *$'\t'* ]] && offer+=:${line#*$'\t'}
                if [[ ${line%%$'\t'*} == *[=:] ]]; then open+=("$offer"); else offers+=("$offer"); fi
                ;;
        esac
    done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( $#offers )) && _describe builder offers
    (( $#open )) && _describe builder open -S ''
    if [[ -n $files ]]; then
        compset -P '--*='
        $=files
    fi
}

if [[ $funcstack[1] == _builder ]]; then
    _builder "$@"
else
    compdef _builder builder
fi
