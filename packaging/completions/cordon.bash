# bash completion for cordon(1). Installed as /usr/share/bash-completion/completions/cordon.

# The words of the list in $1 that begin with the word at the cursor. A colon ends a word for readline; what stands
# before it is cut off what is offered.
_cordon_offer() {
  local current=${COMP_WORDS[COMP_CWORD]}
  if declare -F _get_comp_words_by_ref >/dev/null; then
    _get_comp_words_by_ref -n : cur
    # shellcheck disable=SC2154  # Set by the call above.
    current=$cur
  fi
  mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current")
  if declare -F __ltrim_colon_completions >/dev/null; then
    __ltrim_colon_completions "$current"
  fi
}

_cordon_presets() { cordon policy presets 2>/dev/null | cut -d ' ' -f 1; }
_cordon_verbs() { cordon --help 2>/dev/null | sed -n 's/^  cordon \([a-z]\{1,\}\)\( .*\)\{0,1\}$/\1/p' | sort -u; }

# The value of an option; false where the option is not one with a value that is known.
_cordon_value() {
  local current=${COMP_WORDS[COMP_CWORD]}
  case $1 in
    --allow | --deny) _cordon_offer '@public @lan @vpn @linklocal @metadata host: udp/ icmp/' ;;
    --use) _cordon_offer "$(_cordon_presets)" ;;
    --policy | --log | --write) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    --mode) _cordon_offer 'enforce report ask' ;;
    --dns-mode) _cordon_offer 'map pin open off' ;;
    --class) _cordon_offer 'lan= vpn= public=' ;;
    --dns) _cordon_offer 'host off' ;;
    --mtu) _cordon_offer '1280 1500 9000 65520' ;;
    --workers) _cordon_offer '1 2 4 8' ;;
    --publish | --subnet | --pass-fd | --comment | --for | --name) ;;
    *) return 1 ;;
  esac
}

_cordon_policy() {
  local current=${COMP_WORDS[COMP_CWORD]}
  if ((COMP_CWORD == 2)); then
    _cordon_offer 'show explain check diff fmt add presets reload'
    return
  fi
  _cordon_value "${COMP_WORDS[COMP_CWORD - 1]}" && return
  local options='--policy --use --trust --allow --deny --class --mode --ask --report --dns-mode --help'
  case ${COMP_WORDS[2]} in
    fmt) options='--write --check --help' ;;
    add) options='--allow --deny --comment --help' ;;
    check | diff | presets) options='--help' ;;
  esac
  if [[ $current == -* ]]; then
    _cordon_offer "$options"
  elif [[ ${COMP_WORDS[2]} == show && $current != */* ]]; then
    _cordon_offer "$(_cordon_presets)"
  elif [[ ${COMP_WORDS[2]} != presets ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
  fi
}

# `cordon run`, and the verbs that run a command with its options.
_cordon_run() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local with_value=' --policy --use --allow --deny --class --mode --publish --dns --dns-mode --mtu --workers --subnet --pass-fd --log --name '
  local flags='--trust --ask --report --offline --map-root --nested --new-session --quiet --verbose --help'
  if [[ ${COMP_WORDS[1]} == learn ]]; then
    with_value+='--write '
    flags+=' --force'
  fi

  # The first word that is neither an option nor an option's value begins the command; from there on
  # the command's own completion takes over.
  local at
  for ((at = 2; at < COMP_CWORD; ++at)); do
    case ${COMP_WORDS[at]} in
      --) ((++at)); break ;;
      -*) [[ $with_value == *" ${COMP_WORDS[at]} "* ]] && ((++at)) ;;
      :) ((++at)) ;;  # within a value such as github:read
      *) break ;;
    esac
  done
  if ((at < COMP_CWORD)) || [[ $previous == -- ]]; then
    if declare -F _command_offset >/dev/null; then
      _command_offset "$at"
    else
      mapfile -t COMPREPLY < <(compgen -c -f -- "$current")
    fi
    return
  fi
  _cordon_value "$previous" && return
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$with_value $flags -- -q -v" -- "$current")
  else
    mapfile -t COMPREPLY < <(compgen -c -- "$current")
  fi
}

# `cordon audit`: its own options, then the sandbox's command.
_cordon_audit() {
  local current=${COMP_WORDS[COMP_CWORD]} at
  for ((at = 2; at < COMP_CWORD; ++at)); do
    case ${COMP_WORDS[at]} in
      --compare) mapfile -t COMPREPLY < <(compgen -f -- "$current"); return ;;
      --) ((++at)); break ;;
      --name | --allowed | --add-address | --timeout) ((++at)) ;;
      -* | :) ;;
      *) break ;;
    esac
  done
  if ((at >= COMP_CWORD)) && [[ ${COMP_WORDS[COMP_CWORD - 1]} != -- && $current == -* ]]; then
    _cordon_offer '--json --verbose --name --allowed --public --add-address --timeout --list --compare --help --'
  elif declare -F _command_offset >/dev/null; then
    _command_offset "$at"
  else
    mapfile -t COMPREPLY < <(compgen -c -f -- "$current")
  fi
}

# The verbs that speak to a sandbox that runs: its ID, then for allow and deny a destination, or with --undo one that was
# added.
_cordon_sandbox() {
  local verb=${COMP_WORDS[1]} at id='' added=''
  _cordon_value "${COMP_WORDS[COMP_CWORD - 1]}" && return
  for ((at = 2; at < COMP_CWORD; ++at)); do
    case ${COMP_WORDS[at]} in
      --for) ((++at)) ;;
      --undo) added=yes ;;
      -*) ;;
      *) id=${id:-${COMP_WORDS[at]}} ;;
    esac
  done
  if [[ ${COMP_WORDS[COMP_CWORD]} == -* ]]; then
    case $verb in
      allow | deny) _cordon_offer '--for --undo --help' ;;
      flows | ps) _cordon_offer '--json --help' ;;
      *) _cordon_offer '--help' ;;
    esac
  elif [[ $verb == ps ]]; then
    return
  elif [[ -z $id ]]; then
    _cordon_offer "$(cordon ps 2>/dev/null | tail -n +2 | cut -d ' ' -f 1)"
  elif [[ $verb == allow || $verb == deny ]]; then
    if [[ $added ]]; then
      _cordon_offer "$(cordon "$verb" "$id" 2>/dev/null | sed -n "s/^$verb \\([^ ]*\\) .*/\\1/p")"
    else
      _cordon_value --allow
    fi
  fi
}

_cordon() {
  COMPREPLY=()
  if ((COMP_CWORD == 1)); then
    _cordon_offer "$(_cordon_verbs) --help --version"
    return
  fi
  case ${COMP_WORDS[1]} in
    run | learn) _cordon_run ;;
    policy) _cordon_policy ;;
    audit) _cordon_audit ;;
    ps | flows | allow | deny | events | ask) _cordon_sandbox ;;
    replay) mapfile -t COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]}") ;;
  esac
}

complete -F _cordon cordon
