"""The pages: what people read, and what hostile names cannot do."""
