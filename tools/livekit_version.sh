#!/bin/sh
# Builds any livekit-server that Go's module proxy has: livekit_version.sh VERSION FOLDER. VERSION: v1.9.11, or latest.
# `go install` refuses modules with replace lines, so it is built as a module of its own.
set -eu
version=$1 folder=$2
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
cd "$work"
# Outside of a module: the download is not written into anybody's go.mod.
source=$(GOFLAGS=-mod=mod go mod download -json "github.com/livekit/livekit-server@$version" | sed -n 's/^.*"Dir": "\(.*\)".*$/\1/p')
test -n "$source" || { echo "the module proxy has no livekit-server $version" >&2; exit 1; }
cp -r "$source" source
chmod -R u+w source
cd source
go build -o "$folder/livekit-server" ./cmd/server
"$folder/livekit-server" --version
