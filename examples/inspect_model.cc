// Prints what is in a checkpoint and what each way of loading it would need; only headers are read.
//
//   inspect_model MODEL...
#include <iostream>

#include <shoehorn/shoehorn.h>

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: inspect_model MODEL...\n";
    return 2;
  }
  int status = 0;
  for (int i = 1; i < argc; ++i) {
    try {
      std::cout << shoehorn::inspect(argv[i]).text << '\n';
    } catch (const shoehorn::Error& error) {
      std::cerr << "inspect_model: " << error.what() << '\n';
      status = 1;
    }
  }
  return status;
}
