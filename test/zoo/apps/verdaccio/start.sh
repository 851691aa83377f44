#!/bin/sh
# Packages and users are in one folder for all instances.
sed "s|@DATA@|$DATA|g" config.yaml >"$DATA/config.yaml"
exec node "$VERDACCIO" --config "$DATA/config.yaml" --listen "http://127.0.0.1:$PORT"
