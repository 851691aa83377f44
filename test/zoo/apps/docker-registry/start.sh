#!/bin/sh
# Its data is one folder for all instances, and so is the secret that signs where an upload goes on.
export REGISTRY_HTTP_ADDR="127.0.0.1:$PORT" REGISTRY_HTTP_SECRET=one-for-all
export REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY="$DATA"
exec docker-registry serve config.yml
