"""The distribution policies that come with txrouter, one to a file. They use the same door as anyone's."""
