"""What the commands share between their options and the fleet; nothing here prints."""
