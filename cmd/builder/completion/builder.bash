# bash completion of builder

# _builder_words splits the line up to the cursor into words, as bash's own
# COMP_WORDS are, but without parting them at = and :.
_builder_words() {
    local rest=${COMP_LINE:0:COMP_POINT} stripped word i
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        stripped=${rest#"${rest%%[![:blank:]]*}"}
        ((i < COMP_CWORD)) || word=$stripped
        if [[ $i -eq 0 || $stripped != "$rest" ]]; then
            words+=("$word")
        else
            words[${#words[@]} - 1]+=$word
        fi
        rest=${stripped#"$word"}
    done
}

_builder() {
    local words cur kept line offer files=
    _builder_words
    cur=${words[${#words[@]} - 1]}
    # bash puts the offer in place of what stands behind the last = or :.
    kept=
    [[ $cur != *[=:]* ]] || kept=${cur%"${cur##*[=:]}"}
    COMPREPLY=()
    while IFS= read -r line; do
        offer=${line%%$'\t'*}
        case $offer in
        :files) files=-f ;;
        :directories) files=-d ;;
        "$cur"*) COMPREPLY+=("${offer#"$kept"}") ;;
        esac
    done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
    if [[ -n $files ]]; then
        compopt -o filenames
        while IFS= read -r offer; do
            COMPREPLY+=("$offer")
        done < <(compgen "$files" -- "${cur#"$kept"}")
    fi
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=:] ]]; then
        compopt -o nospace
    fi
} 2>/dev/null

complete -F _builder builder
