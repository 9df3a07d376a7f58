"""The guided tour of `fastproc demo`, and the painter of its pictures."""
