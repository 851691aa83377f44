#!/bin/sh
# nginx before PHP's own FastCGI server, one process: with children it would leave the group that a stop reaches. Sessions: one folder for all.
run=$(mktemp -d)
sed "s|@PORT@|$PORT|; s|@RUN@|$run|; s|@ROOT@|$PWD/public|" nginx.conf >"$run/nginx.conf"
php-cgi -b "$run/cgi" -d session.save_path="$DATA" -d upload_max_filesize=8M &
exec nginx -p "$run" -e error.log -c nginx.conf
