# shellcheck shell=bash
# Sets up the repository's own Python environment in .venv, and repairs it when a set-up was interrupted.
# Sourced by scripts/toolbox, scripts/open_tracker_ecs_shell.sh and tests/run; needs bash and Python 3.11 or later.
#
#   toolbox_bootstrap runtime|lab|dev
#
# installs the packages of locks/NAME.txt (each lock holds those of the one before) and the program .venv/bin/toolbox.
# It writes to stderr only. A finished set-up leaves a stamp, so that a later start costs a comparison of strings.

toolbox_root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
toolbox_venv=$toolbox_root/.venv

_toolbox_say() { printf '%s\n' "$*" >&2; }

_toolbox_give_up() {
  _toolbox_say "× $1"
  _toolbox_say "  → $2"
  exit 70
}

# The first Python on PATH that is new enough; several may stand there, and the oldest is often called python3.
_toolbox_python() {
  local name
  for name in "${TOOLBOX_PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11 python3; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return 0
    fi
  done
  return 1
}

# What must be installed, as one string: the contents of the lock, and where we are (a moved checkout is set up anew).
_toolbox_wanted() {
  printf '%s %s' "$toolbox_root" "$(cksum <"$toolbox_root/locks/$1.txt")"
}

_toolbox_is_set_up() { # PROFILE
  local stamp=$toolbox_venv/.stamp-$1
  [ -x "$toolbox_venv/bin/toolbox" ] && [ -f "$stamp" ] && [ "$(<"$stamp")" = "$(_toolbox_wanted "$1")" ]
}

_toolbox_make_venv() { # PYTHON
  if [ -e "$toolbox_venv" ] && ! "$toolbox_venv/bin/python" -c 'import sys' 2>/dev/null; then
    _toolbox_say "the environment in .venv is broken: making it anew"
    rm -rf -- "$toolbox_venv"
  fi
  [ -x "$toolbox_venv/bin/python" ] && return 0
  if command -v uv >/dev/null; then
    uv venv --quiet --python "$1" "$toolbox_venv" >&2 && return 0
    _toolbox_give_up "uv could not make the environment in .venv." "Run it by hand to see why: uv venv --python $1 .venv"
  fi
  "$1" -m venv "$toolbox_venv" >&2 && return 0
  rm -rf -- "$toolbox_venv"
  local version
  version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  _toolbox_give_up "This Python has no venv." "On Debian or Ubuntu run: sudo apt-get install python$version-venv"
}

_toolbox_install() { # PROFILE
  local lock=$toolbox_root/locks/$1.txt
  if command -v uv >/dev/null; then
    VIRTUAL_ENV=$toolbox_venv uv pip install --quiet --require-hashes -r "$lock" >&2 && return 0
  else
    "$toolbox_venv/bin/python" -m pip --version >/dev/null 2>&1 || "$toolbox_venv/bin/python" -m ensurepip >/dev/null 2>&1
    "$toolbox_venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes \
      -r "$lock" >&2 && return 0
  fi
  _toolbox_give_up "The packages of locks/$1.txt could not be installed." \
    "Read the lines above; check the network or the proxy, then run the same command again."
}

# The program and the path to our code; no build step, and nothing of it in the user's own Python.
_toolbox_link() {
  local packages program=$toolbox_venv/bin/toolbox
  packages=$("$toolbox_venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  printf '%s\n' "$toolbox_root" >"$packages/tracker-toolbox.pth"
  # A shell starts it, since the kernel takes no blanks and no long path after #!; to Python its line is a string.
  cat >"$program.new" <<END
#!/bin/sh
'''exec' "$toolbox_venv/bin/python" -I "\$0" "\$@"
' '''
import sys

from toolbox.cli.main import main

sys.exit(main())
END
  chmod +x "$program.new"
  mv -- "$program.new" "$program"
}

_toolbox_set_up() { # PROFILE
  local python profile
  python=$(_toolbox_python) || _toolbox_give_up "Python 3.11 or later is needed; $(python3 --version 2>&1 | head -n 1) was found." \
    "Install one (Debian 12 and Ubuntu 24.04: sudo apt-get install python3 python3-venv), or name it: TOOLBOX_PYTHON=/path/to/python3.12"
  _toolbox_say "setting up .venv with the packages of locks/$1.txt (once; about a minute)"
  rm -f -- "$toolbox_venv"/.stamp-*
  _toolbox_make_venv "$python"
  _toolbox_install "$1"
  _toolbox_link
  "$toolbox_venv/bin/python" -m compileall -q "$toolbox_root/toolbox" >/dev/null || true
  for profile in runtime lab dev; do
    _toolbox_wanted "$profile" >"$toolbox_venv/.stamp-$profile"
    [ "$profile" = "$1" ] && break
  done
  _toolbox_say "set up"
}

toolbox_bootstrap() { # PROFILE
  _toolbox_is_set_up "$1" && return 0
  if command -v flock >/dev/null; then
    # Two first starts at once must not write into the same environment.
    exec 9<"$toolbox_root"
    flock 9
    _toolbox_is_set_up "$1" || _toolbox_set_up "$1"
    exec 9<&-
  else
    _toolbox_set_up "$1"
  fi
}
