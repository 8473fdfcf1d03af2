from wirekey.cli.main import main

main()
