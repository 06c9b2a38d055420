"""A net of one input and two outputs, for tests of calls."""

ONE = """cnn 1
net one {
  input x: f32[N, 3, 6, 5]
  h = x -> conv(8, 3, pad = same) -> relu
  output y = h -> pool(avg, global) -> flatten -> dense(4)
  output h2 = h * 2
  weights he(seed = 5)
}
"""
