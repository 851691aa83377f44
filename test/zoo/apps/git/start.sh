#!/bin/sh
# nginx before fcgiwrap, which runs git's own CGI program for each request.
run=$(mktemp -d)
sed "s|@PORT@|$PORT|; s|@RUN@|$run|; s|@DATA@|$DATA|" nginx.conf >"$run/nginx.conf"
fcgiwrap -c 4 -s "unix:$run/cgi" &
exec nginx -p "$run" -e error.log -c nginx.conf
