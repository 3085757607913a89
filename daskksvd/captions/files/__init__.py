"""Files and tables of captions, whatever program wrote them."""
