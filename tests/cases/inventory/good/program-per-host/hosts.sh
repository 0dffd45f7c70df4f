#!/bin/sh
case $1 in
--list) echo '{"web": {"hosts": ["node1", "node2"]}, "single": {"color": "{{ blue }}"}}' ;;
--host) [ "$2" = node2 ] || echo '{"name_of_host": "'"$2"'", "twice": "{{ name_of_host }}-{{ name_of_host }}"}' ;;
esac
