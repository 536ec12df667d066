set terminal svg noenhanced size 754,380 font 'Helvetica,12' background '#ffffff'
set encoding utf8
set output 'x.svg'
set border 3 lc rgb '#666666'
set tics nomirror out scale 0.5 textcolor rgb '#222222'
set grid ytics lc rgb '#dddddd' lt 1
set key off
set style fill solid 1
set tmargin 4
set label 1 'Speedup over DP' at graph 0, graph 1 left offset 0,2.2 font ',15' tc rgb '#111111'
set label 2 'predicted epoch time of DP over that of each schedule' at graph 0, graph 1 left offset 0,0.9 tc rgb '#666666'
set ylabel 'times DP'
set xrange [-0.8:12.8]
set yrange [0:1.260105]
unset xtics
set bmargin 4.5
set label 'dp' at 0,0 center offset 0,-0.8 font ',11' tc rgb '#222222' front
set label '1.00' at 0,1 center offset 0,0.6 font ',11' tc rgb '#222222' front
set label 'ls' at 1,0 center offset 0,-0.8 font ',11' tc rgb '#222222' front
set label '1.15' at 1,1.14555 center offset 0,0.6 font ',11' tc rgb '#222222' front
set label 'tr' at 2,0 center offset 0,-0.8 font ',11' tc rgb '#222222' front
set label '1.15' at 2,1.145469 center offset 0,0.6 font ',11' tc rgb '#222222' front
set label 'dpu' at 3,0 center offset 0,-0.8 font ',11' tc rgb '#222222' front
set label '1.15' at 3,1.14555 center offset 0,0.6 font ',11' tc rgb '#222222' front
set label 'ir' at 4,0 center offset 0,-0.8 font ',11' tc rgb '#222222' front
set label '1.10' at 4,1.103632 center offset 0,0.6 font ',11' tc rgb '#222222' front
set label 'ahd' at 5,0 center offset 0,-0.8 font ',11' tc rgb '#222222' front
set label '1.15' at 5,1.14555 center offset 0,0.6 font ',11' tc rgb '#222222' front
set label "small_it\047s \042odd\042^2" at 2.5,0 center offset 0,-1.9 font ',12' tc rgb '#222222' front
set label 'dp' at 7,0 center offset 0,-0.8 font ',11' tc rgb '#222222' front
set label '1.00' at 7,1 center offset 0,0.6 font ',11' tc rgb '#222222' front
set label 'ls' at 8,0 center offset 0,-0.8 font ',11' tc rgb '#222222' front
set label '1.15' at 8,1.14555 center offset 0,0.6 font ',11' tc rgb '#222222' front
set label 'tr' at 9,0 center offset 0,-0.8 font ',11' tc rgb '#222222' front
set label '0.65' at 9,0.654176 center offset 0,0.6 font ',11' tc rgb '#222222' front
set label 'dpu' at 10,0 center offset 0,-0.8 font ',11' tc rgb '#222222' front
set label '0.65' at 10,0.654176 center offset 0,0.6 font ',11' tc rgb '#222222' front
set label 'ir' at 11,0 center offset 0,-0.8 font ',11' tc rgb '#222222' front
set label '1.10' at 11,1.103632 center offset 0,0.6 font ',11' tc rgb '#222222' front
set label 'ahd' at 12,0 center offset 0,-0.8 font ',11' tc rgb '#222222' front
set label '1.10' at 12,1.103632 center offset 0,0.6 font ',11' tc rgb '#222222' front
set label "small_it\047s \042odd\042^2" at 9.5,0 center offset 0,-1.9 font ',12' tc rgb '#222222' front
$boxes << END
0 0.5 -0.4 0.4 0 1 8947848
1 0.572775 0.6 1.4 0 1.14555 14535799
2 0.5727345 1.6 2.4 0 1.145469 4500121
3 0.572775 2.6 3.4 0 1.14555 3351176
4 0.551816 3.6 4.4 0 1.103632 11158681
5 0.572775 4.6 5.4 0 1.14555 8921685
7 0.5 6.6 7.4 0 1 8947848
8 0.572775 7.6 8.4 0 1.14555 14535799
9 0.327088 8.6 9.4 0 0.654176 4500121
10 0.327088 9.6 10.4 0 0.654176 3351176
11 0.551816 10.6 11.4 0 1.103632 11158681
12 0.551816 11.6 12.4 0 1.103632 8921685
END
plot $boxes using 1:2:3:4:5:6:7 with boxxyerror fs solid 1 border rgb '#ffffff' lc rgb variable notitle
unset output
