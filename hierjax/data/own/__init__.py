"""The user's own data: folders, tables, arrays, prepared TFDS sets, label trees."""
