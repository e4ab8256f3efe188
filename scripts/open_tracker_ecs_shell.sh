#!/usr/bin/env bash
# A shell inside the tracker production VPC: a temporary task based on the api service, with scripts/ mounted.
#
#   AWS_PROFILE=glimpse-prod ./scripts/open_tracker_ecs_shell.sh
#   AWS_PROFILE=glimpse-prod ./scripts/open_tracker_ecs_shell.sh -- toolbox probe db
#   ./scripts/open_tracker_ecs_shell.sh --lab            # the same in a local VPC, without an account
#
# All options: ./scripts/open_tracker_ecs_shell.sh --help
set -euo pipefail

exec "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/toolbox" shell "$@"
