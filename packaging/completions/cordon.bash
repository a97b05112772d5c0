# bash completion for cordon(1). Installed as /usr/share/bash-completion/completions/cordon.

_cordon() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  local with_value=' --allow --deny --class --publish --dns --mtu --subnet --pass-fd --log '
  local flags='--offline --map-root --nested --new-session --quiet --verbose --help'
  COMPREPLY=()

  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W 'run doctor --help --version' -- "$current")
    return
  fi
  [[ ${COMP_WORDS[1]} == run ]] || return

  # The first word that is neither an option nor an option's value begins the command; from there on
  # the command's own completion takes over.
  local at
  for ((at = 2; at < COMP_CWORD; ++at)); do
    case ${COMP_WORDS[at]} in
      --) ((++at)); break ;;
      -*) [[ $with_value == *" ${COMP_WORDS[at]} "* ]] && ((++at)) ;;
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

  case $previous in
    --allow | --deny) mapfile -t COMPREPLY < <(compgen -W '@public @lan @vpn @linklocal @metadata host:' -- "$current") ;;
    --class) mapfile -t COMPREPLY < <(compgen -W 'lan= vpn= public=' -- "$current") ;;
    --dns) mapfile -t COMPREPLY < <(compgen -W 'host off' -- "$current") ;;
    --mtu) mapfile -t COMPREPLY < <(compgen -W '1280 1500 9000 65520' -- "$current") ;;
    --log) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    --publish | --subnet | --pass-fd) ;;
    *)
      if [[ $current == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$with_value $flags -- -q -v" -- "$current")
      else
        mapfile -t COMPREPLY < <(compgen -c -- "$current")
      fi
      ;;
  esac
}

complete -F _cordon cordon
