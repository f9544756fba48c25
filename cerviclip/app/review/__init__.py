"""People's labels of pictures: a queue, a journal that loses nothing, agreement, and the export."""
