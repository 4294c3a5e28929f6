"""What leaves for addresses that users name: recordings by URL, deliveries, webhooks, e-mails.

guard     which addresses may be spoken to
dial      connects to exactly the address that was checked
http      requests over that: `Outbound`
answers   what a server's answer about a recording means
arrival   a recording on its way to the disk, and how it may be continued
fetch     brings it there, over connections that break
found     says what was found instead of a recording
sigv4     until when a presigned URL works
smtp      e-mails
problems  what can go wrong
"""
