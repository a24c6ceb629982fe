#include "plan/tree_text.h"

#include <algorithm>
#include <map>
#include <vector>

#include "base/str_cat.h"
#include "plan/human_size.h"
#include "plan/text_table.h"

namespace shoehorn {
namespace {

class TreeWriter {
 public:
  TreeWriter(const ModuleTree& tree, const TreeTextOptions& options) : options_(options) {
    for (const Tie& tie : tree.ties) owner_of_[tie.alias] = tie.owner;
  }

  std::string write(const Module& root) {
    write_module(root, "", root.class_name, "", "", 1);
    std::size_t widest = 0;
    for (const Line& line : lines_) widest = std::max(widest, display_width(line.left));
    std::string text;
    for (const Line& line : lines_) {
      text += line.left;
      if (!line.right.empty()) {
        const std::size_t used = display_width(line.left) + display_width(line.right);
        text += std::string(std::max<std::size_t>(widest + 14, used + 2) - used, ' ') + line.right;
      }
      text += '\n';
    }
    return text;
  }

 private:
  struct Line {
    std::string left;
    std::string right;
  };

  void write_module(const Module& module, const std::string& path, const std::string& label,
                    const std::string& branch, const std::string& indent, std::size_t count);
  std::string tensor_text(const std::string& path, const std::string& name, const Shape& shape,
                          DType dtype) const;
  std::size_t tensor_bytes(const std::string& path, const Shape& shape, DType dtype) const;
  std::size_t module_bytes(const Module& module, const std::string& path) const;
  bool alike(const Module& a, const std::string& path_a, const Module& b,
             const std::string& path_b) const;

  const TreeTextOptions& options_;
  std::map<std::string, std::string> owner_of_;
  std::vector<Line> lines_;
};

std::string join(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "." + name;
}

std::size_t TreeWriter::tensor_bytes(const std::string& path, const Shape& shape,
                                     DType dtype) const {
  if (owner_of_.contains(path)) return 0;
  if (options_.bytes_of) return options_.bytes_of(path);
  const auto elements = shape.checked_elements();
  return elements ? packed_bytes(dtype, *elements).value_or(0) : 0;
}

std::size_t TreeWriter::module_bytes(const Module& module, const std::string& path) const {
  std::size_t bytes = 0;
  for (const auto& p : module.parameters)
    bytes += tensor_bytes(join(path, p.name), p.shape, p.dtype);
  for (const auto& b : module.buffers) bytes += tensor_bytes(join(path, b.name), b.shape, b.dtype);
  for (const auto& [name, child] : module.children) bytes += module_bytes(child, join(path, name));
  return bytes;
}

std::string TreeWriter::tensor_text(const std::string& path, const std::string& name,
                                    const Shape& shape, DType dtype) const {
  std::string text = str_cat(name, " ", to_string(shape), " ", to_string(dtype));
  if (const auto owner = owner_of_.find(path); owner != owner_of_.end()) {
    return str_cat(text, " = ", owner->second);
  }
  if (options_.annotate) {
    const std::string more = options_.annotate(path);
    if (!more.empty()) text += " " + more;
  }
  return text;
}

bool TreeWriter::alike(const Module& a, const std::string& path_a, const Module& b,
                       const std::string& path_b) const {
  const auto same_tensor = [&](const auto& x, const auto& y) {
    return x.name == y.name &&
           tensor_text(join(path_a, x.name), x.name, x.shape, x.dtype) ==
               tensor_text(join(path_b, y.name), y.name, y.shape, y.dtype) &&
           tensor_bytes(join(path_a, x.name), x.shape, x.dtype) ==
               tensor_bytes(join(path_b, y.name), y.shape, y.dtype);
  };
  return a.class_name == b.class_name &&
         std::equal(a.parameters.begin(), a.parameters.end(), b.parameters.begin(),
                    b.parameters.end(), same_tensor) &&
         std::equal(a.buffers.begin(), a.buffers.end(), b.buffers.begin(), b.buffers.end(),
                    same_tensor) &&
         std::equal(a.children.begin(), a.children.end(), b.children.begin(), b.children.end(),
                    [&](const auto& x, const auto& y) {
                      return x.first == y.first && alike(x.second, join(path_a, x.first), y.second,
                                                         join(path_b, y.first));
                    });
}

void TreeWriter::write_module(const Module& module, const std::string& path,
                              const std::string& label, const std::string& branch,
                              const std::string& indent, std::size_t count) {
  const bool unicode = options_.style.unicode;
  std::string left = branch + label;
  std::string separator = "  ";
  for (const auto& p : module.parameters) {
    left += separator + tensor_text(join(path, p.name), p.name, p.shape, p.dtype);
    separator = ", ";
  }
  for (const auto& b : module.buffers) {
    left += separator + "buffer " + tensor_text(join(path, b.name), b.name, b.shape, b.dtype);
    separator = ", ";
  }
  const std::size_t bytes = module_bytes(module, path);
  std::string right = bytes > 0 ? human_size(bytes) : "";
  if (bytes > 0 && count > 1) right += " each";
  lines_.push_back({std::move(left), std::move(right)});

  for (std::size_t i = 0; i < module.children.size();) {
    const auto& [name, child] = module.children[i];
    std::size_t next = i + 1;
    while (next < module.children.size() &&
           alike(child, join(path, name), module.children[next].second,
                 join(path, module.children[next].first))) {
      ++next;
    }
    // Norms of one shape are alike too, but worth their names: only numbered ones are folded.
    const bool numbered = name.find_first_not_of("0123456789") == std::string::npos;
    if (!numbered) next = i + 1;
    const std::string child_label =
        next - i == 1 ? str_cat(name, ": ", child.class_name)
                      : str_cat(name, "-", module.children[next - 1].first, ": ", next - i,
                                unicode ? " × " : " x ", child.class_name);
    const bool last = next == module.children.size();
    write_module(child, join(path, name), child_label,
                 indent + (unicode ? (last ? "└─ " : "├─ ") : (last ? "`- " : "|- ")),
                 indent + (last      ? "   "
                           : unicode ? "│  "
                                     : "|  "),
                 next - i);
    i = next;
  }
}

}  // namespace

std::string tree_text(const ModuleTree& tree, const TreeTextOptions& options) {
  return TreeWriter(tree, options).write(tree.root);
}

}  // namespace shoehorn
