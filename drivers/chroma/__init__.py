"""The inside of the chroma driver: the folder, the collections, their exact copies; imports chromadb and numpy."""
