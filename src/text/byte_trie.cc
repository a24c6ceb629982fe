// Breadth-first construction from sorted strings.
#include "text/byte_trie.h"

#include <algorithm>

namespace shoehorn::text {
namespace {

// The strings [begin, end) share their first `depth` bytes, which lead to `node`.
struct Pending {
  std::size_t begin;
  std::size_t end;
  std::size_t depth;
  std::uint32_t node;
};

}  // namespace

ByteTrie::ByteTrie(std::vector<std::pair<std::string_view, std::int32_t>> entries) {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Pending> queue{{0, entries.size(), 0, kRoot}};
  for (std::size_t next = 0; next < queue.size(); ++next) {
    auto [begin, end, depth, node] = queue[next];
    for (; begin < end && entries[begin].first.size() == depth; ++begin) {
      nodes_[node].value = entries[begin].second;
    }
    nodes_[node].first_child = static_cast<std::uint32_t>(nodes_.size());
    while (begin < end) {
      const char label = entries[begin].first[depth];
      std::size_t same = begin + 1;
      while (same < end && entries[same].first[depth] == label) ++same;
      const auto child = static_cast<std::uint32_t>(nodes_.size());
      nodes_.push_back({0, -1, 0, label});
      ++nodes_[node].children;
      if (node == kRoot) roots_[static_cast<unsigned char>(label)] = child;
      queue.push_back({begin, same, depth + 1, child});
      begin = same;
    }
  }
}

}  // namespace shoehorn::text
