#!/bin/sh
case "$1" in
--list) echo '{"web": ["n1", "n2"], "g": {"children": ["web"], "vars": {"v": "{{ who }}"}}}' ;;
--host) [ "$2" = n1 ] && echo '{"who": "one", "t": "{{ who }}!"}' || echo '{"who": "other"}' ;;
esac
