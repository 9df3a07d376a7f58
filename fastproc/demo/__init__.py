"""The guided run: embedded servers, pictures made on the spot, real jobs."""
