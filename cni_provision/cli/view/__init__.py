"""Views draw the event stream: `human` for people, `ndjson` for programs. Nothing else prints."""
