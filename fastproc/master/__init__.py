"""The process that starts several supervisors and answers for them. It holds no job and speaks to no server."""
