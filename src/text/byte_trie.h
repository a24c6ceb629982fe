// A set of byte strings with a number each, to find all of them that a text starts with.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace shoehorn::text {

/// Immutable, thread-safe. Nodes lie in breadth-first order, so the children of one are neighbours.
class ByteTrie {
 public:
  static constexpr std::uint32_t kRoot = 0;
  static constexpr std::uint32_t kNone = 0xFFFFFFFF;

  ByteTrie() = default;
  /// Of equal strings the last one's value counts. Values are not negative.
  explicit ByteTrie(std::vector<std::pair<std::string_view, std::int32_t>> entries);

  /// The node reached from `node` by `byte`, or kNone.
  std::uint32_t child(std::uint32_t node, char byte) const {
    if (node == kRoot) return roots_[static_cast<unsigned char>(byte)];
    const Node& n = nodes_[node];
    for (std::uint32_t i = n.first_child; i < n.first_child + n.children; ++i) {
      if (nodes_[i].label == byte) return i;
    }
    return kNone;
  }
  /// The value of the string that ends at `node`, -1 if none does.
  std::int32_t value(std::uint32_t node) const { return nodes_[node].value; }
  bool empty() const { return nodes_.size() <= 1; }
  /// Whether some string starts with this byte.
  bool has_first(char byte) const { return child(kRoot, byte) != kNone; }

 private:
  struct Node {
    std::uint32_t first_child = 0;
    std::int32_t value = -1;
    std::uint16_t children = 0;
    char label = 0;
  };
  std::vector<Node> nodes_ = std::vector<Node>(1);
  std::vector<std::uint32_t> roots_ = std::vector<std::uint32_t>(256, kNone);
};

}  // namespace shoehorn::text
