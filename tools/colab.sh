#!/bin/sh
# Installs what Colab lacks, and changes nothing that is there: whatever is installed is a constraint.
set -e
cd "$(dirname "$0")/.."
pip list --format=freeze > /tmp/installed.txt
pip install --quiet --constraint /tmp/installed.txt .
