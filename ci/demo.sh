#!/usr/bin/env bash
# Make an environment if there is none, then run the main job from end to end.
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
install ".[embed,label,view]"
daskksvd demo --overwrite "$@"
