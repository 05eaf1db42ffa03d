"""Recording a room: the accepted request, the recorder job, the files and their names."""
