#!/bin/sh
# PID 1 of the temporary task. It keeps the task's clock: when nobody needs the task any more, it exits, and that ends
# the task without any permission. All orders come from the environment, since an override cannot change an entryPoint:
#
#   TOOLBOX_LIFETIME   seconds until the task ends whatever happens (4 h)
#   TOOLBOX_IDLE       seconds without input, output or a running command (20 min)
#   TOOLBOX_HEARTBEAT  seconds without the client's heartbeat, once there was one (2 min; 0: no such rule)
#   TOOLBOX_RUN        where the far side of a session leaves its marks: files 'activity' and 'heartbeat'
#   TOOLBOX_TERMINALS  where terminals are seen (/dev/pts). They count only as long as no session left marks: the
#                      heartbeats of one that does arrive through a terminal too and would look like use for ever
set -u

run=${TOOLBOX_RUN:-/run/toolbox}
terminals=${TOOLBOX_TERMINALS:-/dev/pts}
lifetime=${TOOLBOX_LIFETIME:-14400}
idle=${TOOLBOX_IDLE:-1200}
heartbeat=${TOOLBOX_HEARTBEAT:-120}

say() { printf 'toolbox: %s\n' "$*"; }

for value in "$lifetime" "$idle" "$heartbeat"; do
  case $value in
    '' | *[!0-9]*)
      say "TOOLBOX_LIFETIME, TOOLBOX_IDLE and TOOLBOX_HEARTBEAT are whole seconds, not '$value'"
      exit 64
      ;;
  esac
done

if ! mkdir -p "$run" || ! chmod 0700 "$run"; then
  say "cannot write to $run: the idle clock cannot be kept"
  exit 73
fi

# When the newest of these files was touched, in seconds since the epoch; nothing where there is none.
newest() {
  for file in "$@"; do
    [ -e "$file" ] && stat -c '%X %Y' "$file" 2>/dev/null
  done | tr ' ' '\n' | sort -rn | head -n 1
}

# Looks often enough that the shortest rule is kept to a quarter of itself, and at most every 5 seconds.
pause=5
for value in "$lifetime" "$idle" "$heartbeat"; do
  quarter=$((value / 4))
  [ "$value" -gt 0 ] && [ "$quarter" -lt "$pause" ] && pause=$quarter
done
[ "$pause" -lt 1 ] && pause=1

finish() {
  say "$1"
  # The sleep in the background, if it has begun. KILL: just after its fork a shell still swallows TERM.
  if [ -n "${!:-}" ]; then
    kill -KILL "$!" 2>/dev/null
    wait "$!" 2>/dev/null
  fi
  exit "$2"
}
trap 'finish "asked to stop" 143' TERM INT HUP

start=$(date +%s)
say "ready; ends after ${lifetime} s, or ${idle} s without use"
while :; do
  sleep "$pause" &
  wait "$!"
  now=$(date +%s)
  if [ -e "$run/activity" ]; then
    used=$(newest "$run/activity")
  else
    used=$(newest "$terminals"/[0-9]*)
  fi
  beaten=$(newest "$run/heartbeat")
  [ "${used:-0}" -lt "$start" ] && used=$start
  [ $((now - start)) -ge "$lifetime" ] && finish "the lifetime of ${lifetime} s is over" 0
  [ $((now - used)) -ge "$idle" ] && finish "nobody used this task for ${idle} s" 0
  if [ "$heartbeat" -gt 0 ] && [ -n "$beaten" ] && [ $((now - beaten)) -ge "$heartbeat" ]; then
    finish "the client has been silent for ${heartbeat} s" 0
  fi
done
