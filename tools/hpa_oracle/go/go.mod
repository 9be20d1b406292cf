// Marks the module's root. The build takes the versions from ../../cluster/tools/kubernetes/go.mod, by -modfile.
module tidegate.test/tools/hpa_oracle/go

go 1.26.0
