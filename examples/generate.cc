// Loads a model under a memory limit and prints a continuation piece by piece as it is computed.
//
//   generate MODEL ["PROMPT" [MAX_MEMORY]]      generate SmolLM2-135M-Instruct "Once" 200MiB
#include <iostream>

#include <shoehorn/shoehorn.h>

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: generate MODEL [\"PROMPT\" [MAX_MEMORY]]\n";
    return 2;
  }
  try {
    shoehorn::LoadOptions options;
    if (argc > 3) options.max_memory = {{"cpu", argv[3]}};
    const auto model = shoehorn::from_pretrained(argv[1], options);
    std::cerr << model.hf_device_map() << '\n';

    auto generation =
        model.generate(argc > 2 ? argv[2] : "Once upon a time", {.max_new_tokens = 64});
    for (const auto& piece : generation) std::cout << piece << std::flush;
    std::cout << '\n';
    std::cerr << generation.stats().decode_tok_s << " tokens/s\n";
  } catch (const shoehorn::Error& error) {
    std::cerr << "generate: " << error.what() << '\n';
    return 1;
  }
}
