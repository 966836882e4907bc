"""`/jobs/{id}/frames/{n}/faces/{k}/explain`: what happens inside the network for one face."""
