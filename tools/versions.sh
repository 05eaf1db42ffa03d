#!/usr/bin/env bash
# Says which of the needed tools is missing or too old; exit 2 then.
set -u
python=${PYTHON:-python3}
bad=0
complain() {
  echo "setup: $1" >&2
  bad=1
}
# at_least NAME HAVE WANT: compares dotted versions
at_least() {
  if [ -z "$2" ]; then
    complain "$1 >= $3 is needed and was not found"
  elif [ "$(printf '%s\n%s\n' "$3" "$2" | sort -V | head -n 1)" != "$3" ]; then
    complain "$1 >= $3 is needed; found $2"
  fi
}
at_least Python "$("$python" -c 'import platform; print(platform.python_version())' 2>/dev/null)" 3.11
at_least cargo "$(cargo --version 2>/dev/null | awk '{print $2}')" 1.89
at_least Node "$(node --version 2>/dev/null | tr -d v)" 20
command -v npm >/dev/null || complain "npm (it comes with Node) was not found"
command -v git >/dev/null || complain "git was not found"
if [ "$bad" = 0 ] && ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
  complain "$python lacks the venv module (Debian: apt-get install python3-venv)"
fi
[ "$bad" = 0 ] || {
  [ "$python" = python3 ] && echo "setup: another Python is taken by: make PYTHON=/path/to/python3.12 setup" >&2
  exit 2
}
