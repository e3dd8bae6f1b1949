"""Where the shards of old versions should lie: hot, warm, cold or archived."""
