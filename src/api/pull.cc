// pull: from the hub into the local cache.

#include "shoehorn/pull.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "shoehorn/error.h"

#include "base/file.h"
#include "base/str_cat.h"
#include "checkpoint/model_path.h"
#include "hub/client.h"
#include "hub/repository.h"
#include "hub/selection.h"
#include "hub/transfer.h"

namespace shoehorn {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHub = "https://huggingface.co";
constexpr int kMostJobs = 32;

bool is_true(const std::string& value) {
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE" || value == "on" ||
         value == "yes" || value == "true";
}

std::string trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string::npos) return "";
  return text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin);
}

/// As huggingface_hub's get_token finds it.
std::string find_token() {
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (const auto value = process_environment(name); value && !trimmed(*value).empty()) {
      return trimmed(*value);
    }
  }
  fs::path path = hub_home_folder() / "token";
  if (const auto named = process_environment("HF_TOKEN_PATH"); named && !named->empty()) {
    path = *named;
  }
  std::error_code ignored;
  return fs::is_regular_file(path, ignored) ? trimmed(read_text_file(path, 1U << 16)) : "";
}

hub::ClientOptions client_options(const PullOptions& options, const std::atomic<bool>* cancelled) {
  if (is_true(process_environment("HF_HUB_OFFLINE").value_or(""))) {
    throw UnsupportedError("HF_HUB_OFFLINE is set: nothing is downloaded");
  }
  hub::ClientOptions client;
  client.endpoint = trimmed(process_environment("HF_ENDPOINT").value_or(""));
  if (client.endpoint.empty()) client.endpoint = kHub;
  client.token = find_token();
  client.attempts = std::max(options.attempts, 1);
  client.first_delay_s = std::max(options.first_delay_s, 0.0);
  client.cancelled = cancelled;
  client.on_note = options.on_note;
  return client;
}

/// Calls work(i) for every i below `count` in up to `jobs` threads. The first error sets `stop` and
/// is thrown when all have ended.
void for_each_in_parallel(std::size_t count, int jobs, std::atomic<bool>& stop,
                          const std::function<void(std::size_t)>& work) {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  const auto run = [&] {
    for (std::size_t i = next++; i < count && !stop.load(); i = next++) {
      try {
        work(i);
      } catch (...) {
        const std::lock_guard lock(mutex);
        // Those that stop because of the first say nothing new.
        if (failure == nullptr) failure = std::current_exception();
        stop = true;
      }
    }
  };
  std::vector<std::jthread> threads;
  const auto wanted = static_cast<std::size_t>(std::clamp(jobs, 1, kMostJobs));
  for (std::size_t i = 1; i < std::min(wanted, count); ++i) threads.emplace_back(run);
  run();
  threads.clear();
  if (failure != nullptr) std::rethrow_exception(failure);
}

class Pull {
 public:
  Pull(const HubModelName& name, const PullOptions& options)
      : name_(name),
        options_(options),
        client_(client_options(options, &stop_), name.repository, name.revision),
        cache_(cache_folder(), name.repository) {}

  PullReport run() {
    const auto start = std::chrono::steady_clock::now();
    const hub::Repository repository =
        hub::parse_repository(client_.repository_json(), name_.repository);
    hub::Selection selection =
        hub::select_files(name_.repository, repository.files, options_.include);
    commit_ = repository.commit;
    cache_.create();
    if (!selection.index.empty()) add_shards(repository, selection);
    fetch_all(selection.files);
    // Last: a name that leads to a model leads to a whole one.
    cache_.write_ref(name_.revision, commit_);
    report_.snapshot = cache_.snapshot(commit_);
    report_.commit = commit_;
    report_.files = selection.files;
    report_.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return report_;
  }

 private:
  static fs::path cache_folder() {
    fs::path folder = hub_cache_folder();
    if (folder.empty()) {
      throw ArgumentError("there is no folder for the hub's cache: set HF_HOME or HOME");
    }
    return folder;
  }

  void add_shards(const hub::Repository& repository, hub::Selection& selection) {
    const hub::FileFacts facts = client_.facts(commit_, selection.index);
    hub::transfer(client_, cache_, commit_, selection.index, facts, [](std::int64_t) {});
    const fs::path path = cache_.snapshot(commit_) / selection.index;
    for (const std::string& shard : hub::parse_shard_names(read_text_file(path), path.string())) {
      if (std::ranges::find(repository.files, shard) == repository.files.end()) {
        throw FormatError(path, str_cat("names ", shard, ", which the repository does not have"));
      }
      if (std::ranges::find(selection.files, shard) == selection.files.end()) {
        selection.files.push_back(shard);
      }
    }
  }

  void check_room(const std::vector<hub::FileFacts>& facts) const {
    std::uint64_t missing = 0;
    std::error_code error;
    for (const hub::FileFacts& file : facts) {
      if (!file.size || fs::exists(cache_.blob(file.etag), error)) continue;
      const auto came = fs::file_size(cache_.incomplete(file.etag), error);
      missing += *file.size - std::min(error ? 0 : came, *file.size);
    }
    const fs::path folder = cache_.snapshot("").parent_path();
    const fs::space_info room = fs::space(folder, error);
    if (!error && missing > room.available) {
      throw FileError(folder, str_cat("the files need ", missing, " bytes more, and the drive has ",
                                      room.available, " left; HF_HUB_CACHE names another folder"));
    }
  }

  void fetch_all(const std::vector<std::string>& files) {
    std::vector<hub::FileFacts> facts(files.size());
    for_each_in_parallel(files.size(), options_.jobs, stop_,
                         [&](std::size_t i) { facts[i] = ask(files[i]); });
    std::uint64_t total = 0;
    for (const hub::FileFacts& file : facts) total += file.size.value_or(0);
    check_room(facts);
    std::atomic<std::int64_t> done{0};
    std::atomic<std::uint64_t> network_bytes{0};
    for_each_in_parallel(files.size(), options_.jobs, stop_, [&](std::size_t i) {
      network_bytes +=
          hub::transfer(client_, cache_, commit_, files[i], facts[i], [&](std::int64_t bytes) {
            check_cancelled();
            const std::int64_t now = done += bytes;
            if (options_.on_progress) {
              options_.on_progress(static_cast<std::uint64_t>(std::max<std::int64_t>(now, 0)),
                                   total);
            }
          });
    });
    report_.bytes = static_cast<std::uint64_t>(done.load());
    report_.network_bytes = network_bytes;
  }

  hub::FileFacts ask(const std::string& file) {
    check_cancelled();
    return client_.facts(commit_, file);
  }

  void check_cancelled() {
    if (options_.cancelled != nullptr && options_.cancelled->load())
      throw CancelledError("the download was cancelled");
  }

  HubModelName name_;
  const PullOptions& options_;
  std::atomic<bool> stop_{false};
  hub::Client client_;
  hub::CachedModel cache_;
  std::string commit_;
  PullReport report_;
};

}  // namespace

PullReport pull(const std::string& model, const PullOptions& options) {
  const auto name = parse_hub_model_name(model);
  if (!name) {
    throw ArgumentError(
        str_cat("\"", model, "\" is no model of the hub: expected org/name or org/name@revision"));
  }
  return Pull(*name, options).run();
}

}  // namespace shoehorn
