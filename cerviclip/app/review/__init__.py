"""Labels by readers: the queue, the journal on disk, agreement of two readers, the export."""
