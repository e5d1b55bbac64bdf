module moorage.test/harbor-calls

go 1.24
