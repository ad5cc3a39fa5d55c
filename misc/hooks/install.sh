#!/bin/sh
# Makes git leave out the outputs of notebooks (.gitattributes names the filter). Called by `make`; does nothing outside
# a git checkout, as in a downloaded archive, or without git.
cd "${0%/*}/../.." || exit 0
[ -e .git ] && command -v git >/dev/null || exit 0
git config --local filter.strip-outputs.clean misc/hooks/strip_outputs.sh || true
