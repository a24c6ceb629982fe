// Templates, BERT's and RoBERTa's fixed patterns, and chains of them.
#include "text/post_processor.h"

#include <limits>
#include <map>
#include <string>
#include <utility>

#include "base/str_cat.h"

namespace shoehorn::text {
namespace {

constexpr int kMaxNesting = 32;
// A template of thousands would make a thousand texts of one.
constexpr std::size_t kMaxTemplateSequences = 16;
constexpr std::size_t kMaxTemplateIds = 65536;
using Sequences = std::vector<TypedIds>;

std::int32_t to_id(const JsonValue& config) {
  const std::int64_t id = config.as_integer();
  if (id < 0 || id > std::numeric_limits<std::int32_t>::max()) config.fail("not a token id");
  return static_cast<std::int32_t>(id);
}

// Byte-level post-processing concerns offsets, which we do not have.
class NoPostProcessor : public PostProcessor {
 public:
  Sequences apply(Sequences sequences, bool) const override { return sequences; }
};

class SequencePostProcessor : public PostProcessor {
 public:
  explicit SequencePostProcessor(std::vector<std::unique_ptr<const PostProcessor>> parts)
      : parts_(std::move(parts)) {}
  Sequences apply(Sequences sequences, bool add_special_tokens) const override {
    for (const auto& part : parts_) {
      sequences = part->apply(std::move(sequences), add_special_tokens);
    }
    return sequences;
  }

 private:
  std::vector<std::unique_ptr<const PostProcessor>> parts_;
};

// cls A sep, and for a pair cls A sep B sep (BERT) or cls A sep sep B sep (RoBERTa).
class ClsSepPostProcessor : public PostProcessor {
 public:
  ClsSepPostProcessor(const JsonValue& config, bool roberta) : roberta_(roberta) {
    cls_ = special(config.at("cls"));
    sep_ = special(config.at("sep"));
  }

  Sequences apply(Sequences sequences, bool add_special_tokens) const override {
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      TypedIds& sequence = sequences[i];
      const std::int32_t type = i > 0 && !roberta_ ? 1 : 0;
      if (add_special_tokens) {
        if (i == 0) {
          sequence.ids.insert(sequence.ids.begin(), cls_);
        } else if (roberta_) {
          sequence.ids.insert(sequence.ids.begin(), sep_);
        }
        sequence.ids.push_back(sep_);
      }
      if (add_special_tokens || roberta_) sequence.type_ids.assign(sequence.ids.size(), type);
    }
    return sequences;
  }

 private:
  // ["[CLS]", 101]
  static std::int32_t special(const JsonValue& config) {
    const auto& items = config.items();
    if (items.size() != 2) config.fail("expected a token and its id");
    return to_id(items[1]);
  }

  bool roberta_;
  std::int32_t cls_;
  std::int32_t sep_;
};

class TemplatePostProcessor : public PostProcessor {
 public:
  explicit TemplatePostProcessor(const JsonValue& config)
      : single_(read_template(config.at("single"), config)),
        pair_(read_template(config.at("pair"), config)) {}

  Sequences apply(Sequences sequences, bool add_special_tokens) const override {
    if (sequences.empty() || sequences.size() > 2) return sequences;
    Sequences result;
    for (const Item& item : sequences.size() == 1 ? single_ : pair_) {
      TypedIds part;
      if (item.sequence < 0) {
        if (!add_special_tokens) continue;
        part.ids = item.ids;
      } else if (static_cast<std::size_t>(item.sequence) < sequences.size()) {
        part.ids = sequences[static_cast<std::size_t>(item.sequence)].ids;
      } else {
        continue;
      }
      part.type_ids.assign(part.ids.size(), item.type_id);
      result.push_back(std::move(part));
    }
    return result;
  }

 private:
  struct Item {
    int sequence = -1;  // 0: A, 1: B, -1: the special tokens `ids`
    std::vector<std::int32_t> ids;
    std::int32_t type_id = 0;
  };

  static std::vector<Item> read_template(const JsonValue& config, const JsonValue& processor) {
    std::vector<Item> items;
    std::size_t sequences = 0;
    std::size_t ids = 0;
    for (const JsonValue& entry : config.items()) {
      Item item;
      const bool special = entry.has("SpecialToken");
      const JsonValue& body = special ? entry.get("SpecialToken") : entry.at("Sequence");
      if (body.has("type_id")) item.type_id = to_id(body.get("type_id"));
      const std::string& name = body.at("id").as_string();
      if (special) {
        item.ids = special_ids(name, entry, processor);
      } else if (name == "A" || name == "B") {
        item.sequence = name == "A" ? 0 : 1;
      } else {
        body.fail(str_cat("the sequence is \"", name, "\", neither A nor B"));
      }
      sequences += item.sequence < 0 ? 0 : 1;
      ids += item.ids.size();
      if (sequences > kMaxTemplateSequences || ids > kMaxTemplateIds) {
        entry.fail(str_cat("more than ", kMaxTemplateSequences, " sequences or ", kMaxTemplateIds,
                           " tokens in a template are not supported"));
      }
      items.push_back(std::move(item));
    }
    return items;
  }

  static std::vector<std::int32_t> special_ids(const std::string& name, const JsonValue& entry,
                                               const JsonValue& processor) {
    const JsonValue& all = processor.get("special_tokens");
    if (all.is_null() || !all.has(name)) {
      entry.fail(str_cat("special_tokens has no \"", name, "\""));
    }
    std::vector<std::int32_t> ids;
    for (const JsonValue& id : all.get(name).at("ids").items()) ids.push_back(to_id(id));
    return ids;
  }

  std::vector<Item> single_;
  std::vector<Item> pair_;
};

std::unique_ptr<const PostProcessor> make(const JsonValue& config, int depth) {
  const std::string& type = config.at("type").as_string();
  if (type == "TemplateProcessing") return std::make_unique<TemplatePostProcessor>(config);
  if (type == "BertProcessing") return std::make_unique<ClsSepPostProcessor>(config, false);
  if (type == "RobertaProcessing") return std::make_unique<ClsSepPostProcessor>(config, true);
  if (type == "ByteLevel") return std::make_unique<NoPostProcessor>();
  if (type == "Sequence") {
    if (depth > kMaxNesting) config.fail("sequences are nested too deeply");
    std::vector<std::unique_ptr<const PostProcessor>> parts;
    for (const JsonValue& item : config.at("processors").items()) {
      parts.push_back(make(item, depth + 1));
    }
    return std::make_unique<SequencePostProcessor>(std::move(parts));
  }
  config.unsupported(str_cat("unknown post-processor \"", type, "\""));
}

}  // namespace

std::unique_ptr<const PostProcessor> make_post_processor(const JsonValue& config) {
  if (config.is_null()) return nullptr;
  return make(config, 0);
}

}  // namespace shoehorn::text
