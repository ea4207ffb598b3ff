"""Content credentials (C2PA): the person's certificate, signing a file, reading what files carry.

A credential says who vouches for a file, what was done to it and what it was made from, and any
later change to the file shows. Nothing here knows what a picture's record says; that is conversion.
"""
