"""Requests to addresses that users name: recordings by URL, deliveries, webhooks.

guard     which addresses may be spoken to
dial      connects to exactly the address that was checked
http      requests over that: `Outbound`
fetch     a recording into a file, over connections that break
found     says what was found instead of a recording
sigv4     until when a presigned URL works
problems  what can go wrong
"""
